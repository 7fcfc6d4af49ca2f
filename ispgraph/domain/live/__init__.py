"""What goes on just now: readings of what passes to and from customers, and who may be told of them."""
