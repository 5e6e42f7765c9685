"""What a study gives a thesis or a paper: a paragraph on methods, and tables in LaTeX."""
