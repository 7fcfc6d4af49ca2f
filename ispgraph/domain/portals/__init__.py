"""Portals of branded customers: how they look, what they show, who looks after them."""
