"""What is written to customers: the events, whose words are used, what it costs, and how it is carried."""
