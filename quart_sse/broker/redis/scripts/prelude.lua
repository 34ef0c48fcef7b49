-- The beginning of every script that takes an id: the one order of all messages.
-- KEYS: last, epoch, replid (of the server that the data set was made on)
-- ARGV: clock offset (ms), a name for a new epoch, the server's replication id, "compare" if that
--       must be the same
-- Returns: epoch, id, its milliseconds, and by how many of them the clock lags behind it
local function take_id()
  local time = redis.call("TIME")
  local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
  local last, epoch = redis.call("GET", KEYS[1]), redis.call("GET", KEYS[2])
  -- Another replication id: the server was restarted or another one promoted, and what it knows
  -- may be older than what was published.
  local is_other = ARGV[4] == "compare" and redis.call("GET", KEYS[3]) ~= ARGV[3]
  -- An id that cannot be read is one that is gone.
  local ms, n = (last or ""):match("^(%d+)-(%d+)$")
  if not ms or not epoch or is_other then
    epoch = ARGV[2]
    redis.call("SET", KEYS[2], epoch)
    redis.call("SET", KEYS[3], ARGV[3])
  end
  ms, n = tonumber(ms or 0), tonumber(n or 0)
  if now > ms then ms, n = now, 0 else n = n + 1 end
  local id = string.format("%.0f-%.0f", ms, n)
  redis.call("SET", KEYS[1], id)
  return epoch, id, ms, ms - now
end

-- A topic's tip is "epoch|last event|last change", either of which may be empty, and perhaps more
-- that another release has added. It tells of a stream or a hash that was evicted.
local function read_tip(tip, epoch)
  local of, event, change = (tip or ""):match("^([^|]*)|([^|]*)|([^|]*)")
  if of ~= epoch then return "", "" end
  return event, change
end
