"""Nothing public: the place is kept for scripts that import the module."""
