-- Puts a client's text in the place of another one.
-- KEYS: the clients, the log of changes.
-- ARGV: the client's id, the text that is expected there, the new text ("" is
--       none), how many changes the log keeps.
-- Returns 1 if it was done, 0 if another text is there, -1 if the clients are
-- lost.
if redis.call('HEXISTS', KEYS[1], '\1generation') == 0 then
	return -1
end
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then
	return 0
end
-- First what may fail: a script that fails takes nothing back.
local version = redis.call('HINCRBY', KEYS[1], '\1version', 1)
if ARGV[3] == '' then
	redis.call('HDEL', KEYS[1], ARGV[1])
else
	redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
local noted = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], version .. '-0', 'id', ARGV[1])
if type(noted) == 'table' and noted.err then
	redis.call('DEL', KEYS[2]) -- whom the log does not tell reads everything
end
return 1
