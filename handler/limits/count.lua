-- Counts for all instances that share this Redis what calls use, and takes
-- what they want if the rules allow all of it. A call's counts may be those of
-- several subjects, so all keys are in one hash slot.
--
-- KEYS are for each count a hash and a sorted set. The hash holds:
--   u     what was used within the period
--   h     the sum of what is held for calls under way
--   n, l  the number of the newest slot of a window, and of the newest one
--         with something in it
--   0...  what was used in each slot, by its number modulo slots + 1
--   p     when the next period of the calendar begins
-- The sorted set has what is held, each as <name>.<amount>, by when its lease
-- ends.
--
-- ARGV are 1 to take whatever the rules say, or 0, and the lease; then for
-- each count:
--   amount         how much is allowed
--   slot           the length of a slot of a window; 0 for a period of the
--                  calendar, -1 for none
--   begins (4)     when periods of the calendar begin, around now
--   drop           what is to be given back of what is held, or nothing
--   add            what was used, whatever the rules say
--   hold, held     what is to be held, and as what
--   use            what is to be used
--
-- All times are in microseconds, by the clock of this Redis: those of the
-- instances may differ.
--
-- It returns whether all was taken, the time, and for each count where it
-- stood before: u, h, n, l or p, and the number of slots that follow, from the
-- oldest to the newest: all of a window that is too full, otherwise none.

local slots = 32
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local force, lease = ARGV[1] == '1', tonumber(ARGV[2])
local at = 2

local function word()
  at = at + 1
  return ARGV[at]
end

local function number()
  return tonumber(word())
end

local function fields(from, to)
  local names = {}
  for k = from, to do
    names[#names + 1] = k % (slots + 1)
  end
  return names
end

-- advance forgets what has left the period.
local function advance(c)
  if c.slot > 0 then
    local n = math.floor(now / c.slot)
    if c.newest == 0 then
      c.newest = n
    elseif n > c.newest then
      local gone = fields(math.max(c.newest + 1, n - slots), n)
      for _, used in ipairs(redis.call('HMGET', c.hash, unpack(gone))) do
        c.used = c.used - tonumber(used or 0)
      end
      redis.call('HDEL', c.hash, unpack(gone))
      c.newest = n
      redis.call('HSET', c.hash, 'u', c.used, 'n', n)
    end
  elseif c.slot == 0 and now >= c.next then
    local stale = c.next > 0
    c.used, c.next = 0, now + c.begins[4] - c.begins[3]
    for i = 4, 1, -1 do
      if c.begins[i] > now then
        c.next = c.begins[i]
      end
    end
    if stale then
      redis.call('HSET', c.hash, 'u', 0, 'p', c.next)
    end
  end
end

local function use(c, n)
  redis.call('HINCRBY', c.hash, 'u', n)
  if c.slot > 0 then
    redis.call('HINCRBY', c.hash, c.newest % (slots + 1), n)
    redis.call('HSET', c.hash, 'n', c.newest, 'l', c.newest)
    c.last = c.newest
  else
    redis.call('HSET', c.hash, 'p', c.next)
  end
end

local function amount(held)
  return tonumber(string.match(held, '%d+$'))
end

local function drop(c, held)
  if redis.call('ZREM', c.holds, held) == 1 then
    c.held = c.held - amount(held)
    redis.call('HINCRBY', c.hash, 'h', -amount(held))
  end
end

-- agree makes the sum of what is held agree with what is held, should Redis
-- have thrown away one of the two keys for want of memory.
local function agree(c, known)
  if known and c.held ~= 0 and redis.call('EXISTS', c.holds) == 0 then
    c.held = 0
    redis.call('HSET', c.hash, 'h', 0)
  elseif not known then
    for _, held in ipairs(redis.call('ZRANGE', c.holds, 0, -1)) do
      c.held = c.held + amount(held)
    end
    if c.held ~= 0 then
      redis.call('HSET', c.hash, 'h', c.held)
    end
  end
end

-- expire lets Redis forget the count when nothing of it counts any more.
local function expire(c)
  local life = 2 * lease
  if c.slot > 0 then
    life = math.max(life, c.slot * (slots + 2))
  elseif c.slot == 0 then
    life = math.max(life, c.next - now)
  end
  redis.call('PEXPIRE', c.hash, math.ceil(life / 1000))
end

local counts, over = {}, false
for i = 1, #KEYS, 2 do
  local c = {
    hash = KEYS[i], holds = KEYS[i + 1],
    amount = number(), slot = number(), begins = {number(), number(), number(), number()},
  }
  local dropped, added = word(), number()
  c.hold, c.name, c.want = number(), word(), number()
  local state = redis.call('HMGET', c.hash, 'u', 'h', 'n', 'l', 'p')
  c.used, c.held, c.newest = tonumber(state[1] or 0), tonumber(state[2] or 0), tonumber(state[3] or 0)
  c.last, c.next = tonumber(state[4] or 0), tonumber(state[5] or 0)
  agree(c, state[2])
  advance(c)
  for _, held in ipairs(redis.call('ZRANGEBYSCORE', c.holds, '-inf', now)) do
    drop(c, held)
  end
  if dropped ~= '' then
    drop(c, dropped)
  end
  if added > 0 then
    use(c, added)
    c.used = c.used + added
    expire(c)
  end
  c.full = c.hold + c.want > 0 and c.used + c.held + c.hold + c.want > c.amount
  over = over or c.full
  counts[#counts + 1] = c
end

local granted = force or not over
local reply = {granted and 1 or 0, now}
for _, c in ipairs(counts) do
  reply[#reply + 1] = c.used
  reply[#reply + 1] = c.held
  reply[#reply + 1] = c.newest
  reply[#reply + 1] = c.slot == 0 and c.next or c.last
  if c.full and c.slot > 0 then
    reply[#reply + 1] = slots + 1
    for _, used in ipairs(redis.call('HMGET', c.hash, unpack(fields(c.newest - slots, c.newest)))) do
      reply[#reply + 1] = tonumber(used or 0)
    end
  else
    reply[#reply + 1] = 0
  end
end
if not granted then
  return reply
end

for _, c in ipairs(counts) do
  if c.hold > 0 then
    if redis.call('ZADD', c.holds, now + lease, c.name) == 1 then
      redis.call('HINCRBY', c.hash, 'h', c.hold)
    end
    redis.call('PEXPIRE', c.holds, math.ceil(2 * lease / 1000))
  end
  if c.want > 0 then
    use(c, c.want)
  end
  if c.hold + c.want > 0 then
    expire(c)
  end
end
return reply
