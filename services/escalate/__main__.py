"""`python -m services.escalate`."""

from services.escalate.app import create_app
from services.escalate.settings import Settings
from shared.serve import serve

if __name__ == "__main__":
    serve(Settings, create_app)
