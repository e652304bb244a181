"""How much the endpoint takes: requests, tokens, places; and the headers that tell of it."""
