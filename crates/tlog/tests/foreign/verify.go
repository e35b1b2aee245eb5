// Verifies a directory in the C2SP tlog-tiles layout with Go's own transparency-log packages.
//
// It shares no code with what wrote the directory. Build it without modules, against Debian's
// golang-golang-x-mod-dev:
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go build -o verify verify.go
//	./verify DIR VERIFIER-KEY [ORIGIN]
//
// The origin is that of the key's name unless given. Exit status: 0 verified, 1 refused, 2 not run as it should be.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// C2SP fixes the tile height that Go leaves open.
const height = 8

// directory reads the tiles; the layout lacks the height that Go's paths begin with.
type directory string

func (d directory) Height() int { return height }

func (d directory) SaveTiles([]tlog.Tile, [][]byte) {}

func (d directory) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(d.file(tile.Path()))
		if err != nil {
			return nil, err
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s: %d bytes for %d hashes", tile.Path(), len(data), tile.W)
		}
		all = append(all, data)
	}
	return all, nil
}

func (d directory) file(path string) string {
	return filepath.Join(string(d), "tile", strings.TrimPrefix(path, "tile/8/"))
}

// head opens the checkpoint: signature, origin, size, root.
func head(d directory, key, origin string) (tlog.Tree, error) {
	var tree tlog.Tree
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return tree, err
	}
	message, err := os.ReadFile(filepath.Join(string(d), "checkpoint"))
	if err != nil {
		return tree, err
	}
	opened, err := note.Open(message, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != origin {
		return tree, fmt.Errorf("no checkpoint of %q", origin)
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil || strconv.FormatInt(tree.N, 10) != lines[1] {
		return tree, fmt.Errorf("tree size %q", lines[1])
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || copy(tree.Hash[:], root) != tlog.HashSize || len(root) != tlog.HashSize {
		return tree, fmt.Errorf("root hash %q", lines[2])
	}
	return tree, nil
}

// bundle compares the entries beside a tile of level 0 with its hashes.
func bundle(d directory, tile tlog.Tile, hashes []byte) error {
	tile.L = -1
	path := strings.Replace(tile.Path(), "/data/", "/entries/", 1)
	data, err := os.ReadFile(d.file(path))
	if err != nil {
		return err
	}
	for len(hashes) > 0 {
		if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
			return fmt.Errorf("%s ends within an entry", path)
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		hash := tlog.RecordHash(data[2:end])
		if !bytes.Equal(hash[:], hashes[:tlog.HashSize]) {
			return fmt.Errorf("%s: an entry is not the leaf", path)
		}
		data, hashes = data[end:], hashes[tlog.HashSize:]
	}
	if len(data) > 0 {
		return fmt.Errorf("%s: entries beyond the tree", path)
	}
	return nil
}

func verify(d directory, key, origin string) (tlog.Tree, error) {
	tree, err := head(d, key, origin)
	if err != nil {
		return tree, err
	}
	if tree.N == 0 {
		if want := tlog.Hash(emptyRoot); tree.Hash != want {
			return tree, errors.New("the empty tree has another root")
		}
		return tree, nil
	}
	// Answers only what it could prove to belong to the root.
	reader := tlog.TileHashReader(tree, d)
	tiles := tlog.NewTiles(height, 0, tree.N)
	for i, tile := range tiles {
		// Some versions list a partial tile at every width that it had; the log needs the last alone.
		if i+1 < len(tiles) && tiles[i+1].L == tile.L && tiles[i+1].N == tile.N {
			continue
		}
		proven, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			return tree, err
		}
		if tile.L == 0 {
			if err := bundle(d, tile, proven); err != nil {
				return tree, err
			}
		}
	}
	return tree, nil
}

// SHA-256 of nothing.
var emptyRoot = [32]byte{
	0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
	0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
}

func main() {
	if len(os.Args) != 3 && len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: verify DIR VERIFIER-KEY [ORIGIN]")
		os.Exit(2)
	}
	key := os.Args[2]
	origin := strings.SplitN(key, "+", 2)[0]
	if len(os.Args) == 4 {
		origin = os.Args[3]
	}
	tree, err := verify(directory(os.Args[1]), key, origin)
	if err != nil {
		fmt.Printf("refused: %v\n", err)
		os.Exit(1)
	}
	fmt.Printf("verified: %d entries of %s, root %s\n", tree.N, origin, tree.Hash)
}
