"""What a file is worth at its own task: classes, masks or boxes, for our files and anyone's."""
