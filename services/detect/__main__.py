"""`python -m services.detect`."""

from services.detect.app import create_app
from services.detect.settings import Settings
from shared.serve import serve

if __name__ == "__main__":
    serve(Settings, create_app)
