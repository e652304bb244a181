"""What is answered: completions and streams read leniently, and what can be made of their logprobs."""
