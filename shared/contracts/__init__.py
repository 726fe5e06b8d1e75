"""What travels between the services: one module a producing service, V-numbered, never changed."""
