"""`python -m services.notify`."""

from services.notify.app import create_app
from services.notify.settings import Settings
from shared.serve import serve

if __name__ == "__main__":
    serve(Settings, create_app)
