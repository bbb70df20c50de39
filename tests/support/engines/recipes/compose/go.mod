// Docker Compose, to check the compose file with. By itself, and for that, it needs no daemon.
module peaktime.test/compose

go 1.26.0

require github.com/docker/compose/v2 v2.40.3

tool github.com/docker/compose/v2/cmd
