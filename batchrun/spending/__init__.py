"""What a call takes of a budget: at most, by its request; in fact, by its answer. Can caps be kept?"""
