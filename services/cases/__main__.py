"""`python -m services.cases`."""

from services.cases.app import check_keys, create_app
from services.cases.settings import Settings
from shared.serve import serve

if __name__ == "__main__":
    serve(Settings, create_app, check_keys)
