"""Need-to-know: who may see an incident that was restricted."""
