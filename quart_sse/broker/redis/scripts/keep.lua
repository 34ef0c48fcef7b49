-- Keep a text, or keep it for longer, if its shelf and its owner's share have room.
-- KEYS: text, expiries (sorted set of references), claims (hash of references: size|shelf|owner),
--       used (hash of shelves and of shelf|owner: bytes)
-- ARGV: reference, text, lifetime (ms), size, how many that have expired to forget, shelf, most
--       bytes on it, owner, most bytes of that owner on it
-- Returns: 1 if the text is kept, 0 if there is no room
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local reference, lifetime, size = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])

local function use(shelf, owner, bytes)
  for _, name in ipairs({shelf, shelf .. "|" .. owner}) do
    if redis.call("HINCRBY", KEYS[4], name, bytes) <= 0 then redis.call("HDEL", KEYS[4], name) end
  end
end

local function forget(old)
  local bytes, shelf, owner = (redis.call("HGET", KEYS[3], old) or ""):match("^(%d+)|([^|]*)|(.*)$")
  if bytes then use(shelf, owner, -bytes) end
  redis.call("HDEL", KEYS[3], old)
  redis.call("ZREM", KEYS[2], old)
end

-- Without one of them the others are of no use: after an eviction counting begins again.
if redis.call("EXISTS", KEYS[2], KEYS[3], KEYS[4]) < 3 then
  redis.call("UNLINK", KEYS[2], KEYS[3], KEYS[4])
end
for _, old in ipairs(redis.call("ZRANGEBYSCORE", KEYS[2], "-inf", now, "LIMIT", 0, ARGV[5])) do
  forget(old)
end
local is_kept = redis.call("EXISTS", KEYS[1]) == 1
local is_claimed = redis.call("HGET", KEYS[3], reference)
if is_claimed and not is_kept then
  forget(reference)
  is_claimed = false
end
if not is_claimed then
  local on_shelf = tonumber(redis.call("HGET", KEYS[4], ARGV[6]) or 0)
  local of_owner = tonumber(redis.call("HGET", KEYS[4], ARGV[6] .. "|" .. ARGV[8]) or 0)
  local is_full = on_shelf + size > tonumber(ARGV[7]) or of_owner + size > tonumber(ARGV[9])
  if is_full and not is_kept then return 0 end
  redis.call("HSET", KEYS[3], reference, ARGV[4] .. "|" .. ARGV[6] .. "|" .. ARGV[8])
  use(ARGV[6], ARGV[8], size)
end
redis.call("SET", KEYS[1], ARGV[2], "PX", lifetime)
redis.call("ZADD", KEYS[2], now + lifetime, reference)
for i = 2, 4 do redis.call("PEXPIRE", KEYS[i], lifetime + 10000) end
return 1
