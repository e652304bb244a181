"""What an exchange with an endpoint means, and what follows: decided here, acted on elsewhere. Pure."""
