"""What a user asks for enters; one call to the rooms below answers it. A file is a job."""
