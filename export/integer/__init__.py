"""What INT8 means, operator by operator: rules, shared scales, a layer's integers."""
