"""What a job is about, before anything is sent: its rows, their requests, and what is done already."""
