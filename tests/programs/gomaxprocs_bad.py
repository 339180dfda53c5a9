"""A GOMAXPROCS that is not a number is reported in one line, and the default used."""
#: env GOMAXPROCS=many

from gort.runtime import gomaxprocs, num_cpu

print(gomaxprocs(0) == num_cpu())
