"""What is read of files without their own packages: protobuf, flatbuffers, Core ML's packages."""
