"""The OpenAPI document of the HTTP API, in parts. Imports nothing of the service but `auth`."""
