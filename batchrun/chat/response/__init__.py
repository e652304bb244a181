"""What comes back: completions and streams read leniently, and what can be made of their logprobs."""
