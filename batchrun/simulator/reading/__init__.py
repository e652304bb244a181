"""A request as the endpoint reads it: its body checked member by member, refused in OpenAI's words."""
