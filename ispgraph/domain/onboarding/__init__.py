"""The creation of a customer, from the first answer to the confirmed account."""
