"""What is asked: messages, content parts and parameters, checked by the API reference."""
