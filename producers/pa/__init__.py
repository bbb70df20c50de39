"""Requests from the Product Admin page: its bodies and endpoints, a folder of them, and the HTTP gateway."""
