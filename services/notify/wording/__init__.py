"""What notices, corrections and forms say: templates and required content, as versioned data."""
