"""Events as shippers wrap them, into what the rules of their log read."""
