"""The HTTP service: trained runs behind a JSON API and a page."""
