"""The kinds of point cloud files, one module each; ``unrender.datasets.clouds`` picks among them."""
