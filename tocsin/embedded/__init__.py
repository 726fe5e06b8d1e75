"""The embedded platform: PostgreSQL and NATS from wheels, started and stopped by Tocsin."""
