"""What was measured (captures, point clouds), the readers that bring it in and the writers that take it out."""
