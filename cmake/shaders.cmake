# Shaders: filled with the kernel contract.
set(TRIVIUM_EMBEDDED_SHADERS "")
