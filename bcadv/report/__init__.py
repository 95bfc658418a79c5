"""Result files -> tables and figures. Reads files only; imports neither torch nor the tracker."""
