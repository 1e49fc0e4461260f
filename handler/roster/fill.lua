-- Puts clients in the place of those that were lost.
-- KEYS: the clients, the log of changes, the clients to put there.
-- ARGV: the name of this life of the store.
-- Somebody else may have been faster; then those are dropped.
if redis.call('HEXISTS', KEYS[1], '\1generation') == 1 then
	redis.call('DEL', KEYS[3])
	return 0
end
redis.call('DEL', KEYS[1], KEYS[2])
if redis.call('EXISTS', KEYS[3]) == 1 then
	redis.call('RENAME', KEYS[3], KEYS[1])
	redis.call('PERSIST', KEYS[1])
end
redis.call('HSET', KEYS[1], '\1generation', ARGV[1], '\1version', '0')
return 1
