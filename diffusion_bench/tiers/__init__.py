"""What a workload costs, needs and takes on a card: counted, published and predicted."""
