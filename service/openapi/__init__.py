"""The OpenAPI document of the HTTP API, in parts. Imports only modules at the top of the service."""
