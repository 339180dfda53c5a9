"""runtime.mem_profile_rate: from GODEBUG, then what is assigned, in both spellings."""
#: env GODEBUG=memprofilerate=4096

from gort import runtime

print(runtime.mem_profile_rate, runtime.MemProfileRate)
runtime.MemProfileRate = 1
print(runtime.mem_profile_rate, runtime.MemProfileRate)
runtime.mem_profile_rate = 0
print(runtime.mem_profile_rate, runtime.MemProfileRate)
for value in (-1, 1 << 63, 1.5, "1", None, True):
    try:
        runtime.mem_profile_rate = value
    except (TypeError, ValueError) as error:
        print(type(error).__name__, error)
print(runtime.MemProfileRate, "MemProfileRate" in dir(runtime))
