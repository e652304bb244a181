"""What the endpoint answers: made up from the request and the seed, never from chance. Pure."""
