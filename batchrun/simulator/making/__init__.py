"""What answers are made of: tokens, sentences, numbers, JSON values, each drawn by the seed. Pure."""
