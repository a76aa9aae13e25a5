"""Requests enter; JSON leaves. A module for each group of routes; `app.py` has the list of them."""
