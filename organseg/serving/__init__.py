"""Triton glue: what runs inside the server's models, and what starts and checks a server."""
