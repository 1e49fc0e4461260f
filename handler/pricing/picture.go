// SPDX-License-Identifier: Apache-2.0

package pricing

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// What requests mean that do not say what pictures they want, as far as these
// are not paid in tokens.
const (
	usualSize    = "1024x1024"
	usualQuality = "standard"
)

// pictureNames are the names under which a model may be listed that makes
// pictures of a certain kind: with their size before it, such as
// "1024-x-1024/dall-e-2", and with their quality before that.
func pictureNames(model string, o wire.Order) []string {
	size := cmp.Or(o.Size, usualSize)
	if pixels(size) == 0 {
		return nil
	}
	sized := strings.Replace(size, "x", "-x-", 1) + "/" + model
	return []string{sized, cmp.Or(o.Quality, usualQuality) + "/" + sized}
}

// maxSide bounds how long the side of a picture is believed to be, in pixels.
const maxSide = 1 << 16

// pixels returns how many pixels a picture of a size such as "1024x1792" has; 0
// if it is none.
func pixels(size string) int64 {
	left, right, _ := strings.Cut(cmp.Or(size, usualSize), "x")
	width, err := strconv.ParseUint(left, 10, 32)
	if err != nil || width > maxSide {
		return 0
	}
	height, err := strconv.ParseUint(right, 10, 32)
	if err != nil || height > maxSide {
		return 0
	}
	return int64(width * height)
}
