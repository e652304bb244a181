"""The journal: what was sent and what came back, appended line by line while a run goes."""
