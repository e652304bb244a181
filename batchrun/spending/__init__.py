"""What calls may take of a budget, and what they took: a job's prices and caps, a request's bound."""
