"""What a microcontroller or its NPU will make of a .tflite file, from the file alone."""
